// Renders docs/runbooks/*.md, and their translations in docs/LANGUAGE/runbooks/, as pages at /runbooks/NAME.
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { Marked } from 'marked'

const DOCS = '../docs'
const REPOSITORY = 'https://github.com/sockmon/sockmon/blob/main/docs'
const LANGUAGES = {
  en: { own: 'English', all: 'All runbooks' },
  zh: { own: '中文', all: '全部处理手册' },
}

/** Write the pages into a directory; css: the address of the style sheet. */
export async function renderRunbooks(into, css) {
  await mkdir(into, { recursive: true })
  for (const language of Object.keys(LANGUAGES)) {
    const from = directory(language)
    if (!existsSync(from)) continue
    for (const file of (await readdir(from)).filter(name => name.endsWith('.md'))) {
      const name = file.slice(0, -'.md'.length)
      const suffix = language === 'en' ? '' : `.${language}`
      const text = await readFile(`${from}/${file}`, 'utf8')
      await writeFile(`${into}/${name}${suffix}.html`, page(text, name, language, css))
    }
  }
}

const directory = language => (language === 'en' ? `${DOCS}/runbooks` : `${DOCS}/${language}/runbooks`)

function page(text, name, language, css) {
  const title = /^# (.+)$/m.exec(text)?.[1] ?? name
  const others = Object.keys(LANGUAGES).filter(
    other => other !== language && existsSync(`${directory(other)}/${name}.md`),
  )
  const address = name === 'README' ? '/runbooks/' : `/runbooks/${name}`
  const links = [
    '<a href="/">sockmon</a>',
    `<a href="/runbooks/?lang=${language}">${LANGUAGES[language].all}</a>`,
    ...others.map(other => `<a href="${address}?lang=${other}" lang="${other}">${LANGUAGES[other].own}</a>`),
  ]
  return `<!doctype html>
<html lang="${language === 'zh' ? 'zh-Hans' : language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${css}">
</head>
<body class="document">
<header><nav>${links.join(' ')}</nav></header>
<main class="card">
${rendered(text, language)}</main>
</body>
</html>
`
}

/** Markdown as HTML; HTML in it is text. */
function rendered(text, language) {
  const slugs = new Map()
  const marked = new Marked({
    renderer: {
      html: ({ text: html }) => escaped(html),
      heading({ tokens, depth, text: plain }) {
        return `<h${depth} id="${unique(slug(plain), slugs)}">${this.parser.parseInline(tokens)}</h${depth}>\n`
      },
      link({ href, tokens }) {
        return `<a href="${escaped(target(href, language))}">${this.parser.parseInline(tokens)}</a>`
      },
      // One that is wider than the window scrolls, and is reached by keyboard.
      code: ({ text: code }) => `<pre tabindex="0"><code>${escaped(code)}</code></pre>\n`,
      table({ header, rows }) {
        const row = (cells, tag) =>
          `<tr>${cells.map(({ tokens }) => `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`).join('')}</tr>\n`
        const body = rows.map(cells => row(cells, 'td')).join('')
        return `<div class="scroll" role="region" aria-label="${escaped(header[0]?.text ?? '')}" tabindex="0"><table>\n<thead>${row(header, 'th')}</thead>\n<tbody>${body}</tbody></table></div>\n`
      },
    },
  })
  return marked.parse(text)
}

/** As GitHub makes the ids of headings. */
const slug = text =>
  text.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').trim().replace(/\s/g, '-')

function unique(id, taken) {
  const times = taken.get(id) ?? 0
  taken.set(id, times + 1)
  return times === 0 ? id : `${id}-${times}`
}

/** A link between runbooks stays here; one to another document leads to the repository. */
function target(href, language) {
  if (/^(https?:|#)/.test(href)) return href
  const [, name, rest] = /^(?:\.\/)?(\w+)\.md(#.*)?$/.exec(href) ?? []
  if (name !== undefined) return `/runbooks/${name === 'README' ? '' : name}${rest ?? ''}`
  const base = language === 'en' ? 'runbooks' : `${language}/runbooks`
  return `${REPOSITORY}${new URL(href, `http://docs/${base}/`).pathname}`
}

const escaped = text =>
  text.replace(/[&<>"]/g, each => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[each])
