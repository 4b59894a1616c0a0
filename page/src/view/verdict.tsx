import { useRef } from 'preact/hooks'
import { dated } from '../model/believed'
import { byCause, idOf, inOrder } from '../model/findings'
import { neighbourhood, troubled, type Listed } from '../model/host'
import type { Namespace, Observation } from '../model/message'
import { linkTo } from '../model/namespaces'
import { troubles, unseen, type Verdict as Said } from '../model/verdict'
import { say } from '../words'
import { Findings, type RecentOf } from './finding'
import { Glyph } from './glyph'
import { DETAILS, goToDetails } from './going'

/** Links to so many namespaces in trouble; all are in the table. */
const NAMED = 8

interface Props {
  said: Said
  /** All namespaces, where there are several; `whole` is the verdict on them. */
  all: Listed[]
  whole: Said | null
  namespace: Namespace | null
  observation: Observation
  recentOf: RecentOf
}

/** What is wrong, whose fault it is, and what helps: of the host, and of the namespace that is shown. */
export function Verdict({ said, all, whole, namespace, observation, recentOf }: Props) {
  const first = whole ?? said
  const bad = whole === null ? [] : troubled(all)
  const failing = troubles(observation)
  const around = neighbourhood(observation.neighbours)
  return (
    <section id="verdict" class={`verdict ${first.level}`} aria-labelledby="headline" tabIndex={-1}>
      <div class="saying">
        <Glyph level={first.level} />
        <div>
          <div role="status"><h1 id="headline">{first.headline}</h1></div>
          <p>{first.detail}</p>
        </div>
      </div>
      {bad.length > 1 ? <Troubled bad={bad} shown={namespace?.netns ?? null} /> : null}
      {namespace === null ? null : (
        <div id={DETAILS} tabIndex={-1}>
          {whole === null || bad.some(({ line }) => line.netns === namespace.netns) ? null : (
            <div class={`one ${said.level}`}>
              <h2><Glyph level={said.level} /><bdi class="netns">{namespace.netns}</bdi> {said.headline}</h2>
              <p class="note">{said.detail}</p>
            </div>
          )}
          <Inside key={namespace.netns} {...{ namespace, observation, recentOf }} />
        </div>
      )}
      {failing.length > 0 ? <Missing title={say.verdict.failing} texts={failing} /> : null}
      {observation.hints.length > 0 ? <Missing title={say.verdict.showMore} texts={observation.hints} /> : null}
      {around === null || observation.namespaces.length === 1 ? null : <p class="aside">{around}</p>}
    </section>
  )
}

/** Links to the namespaces in trouble. */
function Troubled({ bad, shown }: { bad: Listed[]; shown: string | null }) {
  return (
    <ul class="troubled">
      {bad.slice(0, NAMED).map(({ line: { netns }, level, says }) => (
        <li key={netns} class={level}>
          <a href={linkTo(netns)} aria-current={netns === shown ? 'true' : undefined} onClick={goToDetails}>
            <bdi>{netns}</bdi>
          </a> <span class="note">{says}</span>
        </li>
      ))}
    </ul>
  )
}

/** The findings of one namespace, in an order that does not jump, and what is not known of it. */
function Inside({ namespace, observation, recentOf }: { namespace: Namespace; observation: Observation; recentOf: RecentOf }) {
  const before = useRef<string[]>([])
  const causes = inOrder(byCause(namespace.findings ?? []), before.current)
  before.current = causes.map(({ finding }) => idOf(finding))
  const missing = unseen(namespace, observation)
  const age = dated(namespace, observation)
  return (
    <>
      {missing.length > 0 ? <Missing title={say.verdict.notRead} texts={missing} /> : null}
      {causes.length > 0 ? <Findings {...{ causes, observation, recentOf }} /> : null}
      {age === null ? null : <p class="aside">{age}</p>}
      {namespace.hidden_processes ? <p class="aside">{say.verdict.hidden(namespace.hidden_processes)}</p> : null}
    </>
  )
}

function Missing({ title, texts }: { title: string; texts: string[] }) {
  return (
    <div class="missing">
      <h2>{title}</h2>
      <ul>{texts.map(text => <li key={text}>{text}</li>)}</ul>
    </div>
  )
}
