import type { ComponentChildren } from 'preact'
import { lines } from '../model/evidence'
import { actorOf, alertOf, type Cause } from '../model/findings'
import { clock, count, duration, percent } from '../model/format'
import { PURPOSES, type Advice, type Deadline, type Finding, type Observation, type Process, type Purpose } from '../model/message'
import { CommandLine } from './command'

const HEADINGS: Record<Purpose, string> = { stop: 'Stop the bleeding', fix: 'Find the bug', look: 'Evidence' }

/** A finding on a line. */
export function Line({ finding }: { finding: Finding }) {
  const { port, path } = finding.subject
  return (
    <span class={`line ${finding.severity}`}>
      <span class="badge">{finding.severity}</span> {finding.title} · <bdi>{actorOf(finding).who}</bdi>
      {port === null ? '' : ` · port ${port}`}
      {path === null ? '' : <> · <bdi>{path}</bdi></>}
    </span>
  )
}

/** A finding in full, and folded below it those that it causes. `isOnly`: its title is the headline. */
export function Card(props: { cause: Cause; isOnly: boolean; observation: Observation; symptomIds: string[] }) {
  const { cause: { finding, symptoms }, isOnly, observation, symptomIds } = props
  return (
    <article class={`finding ${finding.severity} ${isOnly ? 'alone' : ''}`}>
      <h2>
        <span class="badge">{finding.severity}</span>{' '}
        <span class={isOnly ? 'unseen' : ''}>{finding.title}</span>
      </h2>
      <p class="summary">{finding.summary}</p>
      {finding.critical_because === null ? null : <p class="because">Critical because {finding.critical_because}.</p>}
      <Facts finding={finding} observation={observation} />
      <div class="purposes">
        {PURPOSES.map(purpose => <Section key={purpose} purpose={purpose} finding={finding} />)}
      </div>
      {symptoms.map((symptom, at) => (
        <details class="symptom" key={symptomIds[at]} id={symptomIds[at]} tabIndex={-1}>
          <summary>Caused by this: <Line finding={symptom} /></summary>
          <Card cause={{ finding: symptom, symptoms: [] }} isOnly={false} observation={observation} symptomIds={[]} />
        </details>
      ))}
    </article>
  )
}

function Facts({ finding, observation }: { finding: Finding; observation: Observation }) {
  const { deadline } = finding
  const alert = alertOf(finding, observation)
  const now = observation.taken_at
  const { port, path, direction, owner } = finding.subject
  const { who, besides } = actorOf(finding)
  return (
    <dl class="facts">
      <Fact name="Who must act"><bdi>{who}</bdi>{besides}</Fact>
      {port === null ? null : (
        <Fact name="Where">{direction === 'inbound' ? `connections to port ${port} here` : `connections to remote port ${port}`}</Fact>
      )}
      {path === null ? null : <Fact name="Where">connections to <bdi>{path}</bdi></Fact>}
      {deadline === null ? null : <Fact name="Until it fails" loud>{countdown(deadline)}</Fact>}
      {owner === null || owner.fds === null || owner.fd_limit === null ? null : (
        <Fact name="Its descriptors">{descriptors(owner.fds, owner.fd_limit)}</Fact>
      )}
      {alert === null ? null : (
        <Fact name="Alert">
          {alert.state}, {alert.labels['severity']} · found {duration(now - alert.since)} ago, at {clock(alert.since, now)}
        </Fact>
      )}
    </dl>
  )
}

const countdown = ({ seconds, what }: Deadline): string =>
  seconds > 0 ? `${duration(seconds)}, then ${what}` : `now: ${what}`

const descriptors = (used: number, limit: number): string =>
  `${count(used)} of ${count(limit)} (${percent(used / limit)})`

function Fact(props: { name: string; loud?: boolean; children: ComponentChildren }) {
  return (
    <div class={props.loud ? 'loud' : ''}>
      <dt>{props.name}</dt>
      <dd>{props.children}</dd>
    </div>
  )
}

/** The advice for one purpose; with that to look at evidence, the evidence itself. */
function Section({ purpose, finding }: { purpose: Purpose; finding: Finding }) {
  const advice = finding.advice.filter(each => each.purpose === purpose)
  const isEvidence = purpose === 'look'
  if (advice.length === 0 && !isEvidence) return null
  return (
    <section class={purpose}>
      <h3>{HEADINGS[purpose]}</h3>
      {isEvidence ? <Evidence finding={finding} /> : null}
      {advice.length === 0 ? null : (
        <ul class="advice">{advice.map(each => <Item key={each.text} advice={each} />)}</ul>
      )}
      {isEvidence ? (
        <a class="runbook" href={finding.runbook_url} rel="noreferrer">Runbook: {finding.alert['alertname']}</a>
      ) : null}
    </section>
  )
}

function Item({ advice: { text, command } }: { advice: Advice }) {
  return <li>{text}{command === null ? null : <CommandLine command={command} />}</li>
}

function Evidence({ finding }: { finding: Finding }) {
  return (
    <dl class="evidence">
      {lines(finding.evidence).map(({ name, text }) => (
        <div key={name}><dt>{name}</dt><dd>{text}</dd></div>
      ))}
      {finding.owners.length > 1 ? (
        <div><dt>held by</dt><dd>{finding.owners.map(holder).join(', ')}</dd></div>
      ) : null}
    </dl>
  )
}

const holder = ({ name, pid }: Process): string => (pid === null ? name : `${name} (pid ${pid})`)
