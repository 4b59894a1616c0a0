// Builds src/ into ../sockmon/web/static, the same bytes each time: what the daemon serves, and the wheel holds.
import { build } from 'esbuild'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { renderRunbooks } from './runbooks.mjs'

const into = process.argv[2] ?? '../sockmon/web/static'

await rm(into, { recursive: true, force: true })
await mkdir(into, { recursive: true })
const { metafile } = await build({
  entryPoints: { app: 'src/main.tsx' },
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  splitting: true, // the plot is loaded after the verdict
  outdir: into,
  bundle: true,
  format: 'esm',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none', // whole licences: see below
  metafile: true,
  minify: true,
  target: 'es2022',
})

const built = Object.keys(metafile.outputs).map(path => basename(path))
const named = suffix => `/assets/${built.find(name => name.startsWith('app-') && name.endsWith(suffix))}`
// What the page needs at once is asked for at once.
const [entry] = Object.values(metafile.outputs).filter(({ entryPoint }) => entryPoint === 'src/main.tsx')
const preloads = entry.imports
  .filter(({ kind }) => kind === 'import-statement')
  .map(({ path }) => `<link rel="modulepreload" href="/assets/${basename(path)}">\n`)
const html = await readFile('src/index.html', 'utf8')
await writeFile(
  `${into}/index.html`,
  html.replace('/app.css', named('.css')).replace('/app.js', named('.js')).replace('</head>', `${preloads.join('')}</head>`),
)

// Its name stays the same, so that a change of the style is no change of each runbook.
await build({ entryPoints: ['src/style/runbook.css'], outdir: into, bundle: true, minify: true })
await renderRunbooks(`${into}/runbooks`, '/assets/runbook.css')

const { dependencies } = JSON.parse(await readFile('package.json', 'utf8'))
const licences = await Promise.all(
  Object.entries(dependencies).map(
    async ([name, version]) =>
      `${name} ${version}\n\n${await readFile(`node_modules/${name}/LICENSE`, 'utf8')}`,
  ),
)
await writeFile(`${into}/licences.txt`, licences.join('\n\n'))
