import type { ComponentChildren } from 'preact'
import { dated } from '../model/believed'
import { lines } from '../model/evidence'
import { clock, count, duration, percent, plural } from '../model/format'
import type { Finding, Namespace, Observation, Process } from '../model/message'
import { actor, alertOf, countdown, title, unseen, type Verdict as Said } from '../model/verdict'
import { Glyph } from './glyph'
import { DETAILS, goTo } from './going'

/** Those after these are closed at first. */
const OPEN_CARDS = 2

/** Of one namespace; `isOne`: of one among many, whose verdict stands above. */
export function Verdict(props: {
  said: Said
  namespace: Namespace
  observation: Observation
  isOne: boolean
}) {
  const { said, namespace, observation, isOne } = props
  const findings = namespace.findings ?? []
  const missing = unseen(namespace, observation)
  const age = dated(namespace, observation)
  return (
    <section
      id={isOne ? DETAILS : 'verdict'}
      class={`verdict ${said.level} ${isOne ? 'one' : ''}`}
      aria-labelledby={isOne ? 'one' : 'headline'}
      tabIndex={-1}
    >
      <div class="saying">
        <Glyph level={said.level} />
        <div>
          {isOne ? (
            <h2 id="one"><bdi class="netns">{namespace.netns}</bdi> {said.headline}</h2>
          ) : (
            <div role="status"><h1 id="headline">{said.headline}</h1></div>
          )}
          <p>{said.blame === null ? null : <><bdi>{said.blame}</bdi> must act. </>}{said.detail}</p>
        </div>
      </div>
      {missing.length > 0 ? (
        <div class="missing">
          <h2>Not seen in the last poll</h2>
          <ul>{missing.map(text => <li key={text}>{text}</li>)}</ul>
        </div>
      ) : null}
      {findings.length > OPEN_CARDS ? <Overview findings={findings} /> : null}
      {findings.map((finding, at) => {
        const key = JSON.stringify(finding.alert_labels)
        const card = <Card key={key} finding={finding} alone={findings.length === 1} observation={observation} />
        return at < OPEN_CARDS ? <div key={key} id={place(at)} tabIndex={-1}>{card}</div> : (
          <details key={key} id={place(at)} tabIndex={-1}><summary><Line finding={finding} /></summary>{card}</details>
        )
      })}
      {age === null ? null : <p class="aside">{age}</p>}
      {namespace.hidden_processes ? (
        <p class="aside">
          {plural(namespace.hidden_processes, 'process', 'processes')} of other users cannot be
          looked into: owners may be missing. Root, or CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH,
          sees them all.
        </p>
      ) : null}
    </section>
  )
}

const place = (at: number): string => `finding-${at + 1}`

/** All that is wrong at a glance; each line leads to its card. */
function Overview({ findings }: { findings: Finding[] }) {
  return (
    <ol class="overview">
      {findings.map((finding, at) => (
        <li key={JSON.stringify(finding.alert_labels)}>
          <a href={`#${place(at)}`} onClick={goTo(place(at))}>
            <Line finding={finding} />
          </a>
        </li>
      ))}
    </ol>
  )
}

function Line({ finding }: { finding: Finding }) {
  const { port } = finding.subject
  return (
    <span class={`line ${finding.severity}`}>
      <span class="badge">{finding.severity}</span> {title(finding)} · <bdi>{actor(finding).who}</bdi>
      {port === null ? '' : ` · port ${port}`}
    </span>
  )
}

function Card(props: { finding: Finding; alone: boolean; observation: Observation }) {
  const { finding, alone, observation } = props
  const end = countdown(finding)
  const alert = alertOf(finding, observation)
  const now = observation.taken_at
  const named = observation.detectors[finding.detector]
  const { port, direction, owner } = finding.subject
  const { who, besides } = actor(finding)
  return (
    <article class={`finding ${finding.severity} ${alone ? 'alone' : ''}`}>
      <h2>
        <span class="badge">{finding.severity}</span>{' '}
        <span class={alone ? 'unseen' : ''}>{title(finding)}</span>
      </h2>
      <p class="summary">{finding.summary}</p>
      <dl class="facts">
        <Fact name="Who must act"><bdi>{who}</bdi>{besides}</Fact>
        {port === null ? null : (
          <Fact name="Where">{direction === 'inbound' ? `connections to port ${port} here` : `connections towards port ${port}`}</Fact>
        )}
        {end === null ? null : (
          <Fact name="Until it hurts" loud>{end.seconds > 0 ? `${duration(end.seconds)}, then ${end.what}` : `now: ${end.what}`}</Fact>
        )}
        {owner && owner.fds !== null && owner.fd_limit !== null ? <Descriptors owner={owner} /> : null}
        {alert === null ? null : (
          <Fact name="Alert">
            {alert.state}, {alert.labels['severity']} · found {duration(now - alert.since)} ago, at {clock(alert.since, now)}
          </Fact>
        )}
      </dl>
      <div class="columns">
        <div>
          <h3>What to do</h3>
          <ol class="advice">{finding.advice.map(text => <Advice key={text} text={text} />)}</ol>
          {named === undefined ? null : (
            <a class="runbook" href={named.runbook_url} rel="noreferrer">Runbook: {named.alert}</a>
          )}
        </div>
        <div>
          <h3>Evidence</h3>
          <dl class="evidence">
            {lines(finding.evidence).map(({ name, text }) => (
              <div key={name}><dt>{name}</dt><dd>{text}</dd></div>
            ))}
          </dl>
        </div>
      </div>
    </article>
  )
}

function Fact(props: { name: string; loud?: boolean; children: ComponentChildren }) {
  return (
    <div class={props.loud ? 'loud' : ''}>
      <dt>{props.name}</dt>
      <dd>{props.children}</dd>
    </div>
  )
}

function Descriptors({ owner }: { owner: Process }) {
  const [used, limit] = [owner.fds ?? 0, owner.fd_limit ?? 1]
  return (
    <Fact name="Its descriptors">
      {count(used)} of {count(limit)} ({percent(used / limit)})
    </Fact>
  )
}

/** A sentence; the command in it ("See them: ss ...") stands apart, to be copied. */
function Advice({ text }: { text: string }) {
  const [, sentence, command, rest] = /^(See [^:]+): (ss [^']*'[^']*')(?:\. (.*))?$/.exec(text) ?? []
  if (sentence === undefined) return <li>{text}</li>
  return <li>{sentence}:<code tabIndex={0}>{command}</code>{rest}</li>
}
