import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { lines } from '../model/evidence'
import { actorOf, alertOf, blamed, figure, idOf, type Cause } from '../model/findings'
import { count, decimal, duration, percent } from '../model/format'
import { PURPOSES, type Advice, type Finding, type Observation, type Process, type Purpose, type State } from '../model/message'
import { nameOf } from '../model/states'
import { until } from '../model/verdict'
import { language, say } from '../words'
import { CommandLine } from './command'
import { KEPT, Spark, type Recent } from './spark'

/** The history of a finding's group, where it is kept. */
export type RecentOf = (finding: Finding) => Recent | null

/** Findings as rows that open; the first is open until it is closed. */
export function Findings({ causes, observation, recentOf }: { causes: Cause[]; observation: Observation; recentOf: RecentOf }) {
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set())
  const toggle = (id: string): void => {
    const next = new Set(toggled)
    if (!next.delete(id)) next.add(id)
    setToggled(next)
  }
  return (
    <ol class="findings" aria-label={say.finding.list}>
      {causes.map(({ finding, symptoms }, at) => {
        const id = idOf(finding)
        const open = toggled.has(id) !== (at === 0)
        return (
          <li key={id} class={finding.severity}>
            <Row {...{ finding, observation, recentOf, open }} toggle={() => toggle(id)} />
            {open ? <Details finding={finding} /> : null}
            {symptoms.length === 0 ? null : (
              <ol class="symptoms" aria-label={say.finding.causedBy}>
                {symptoms.map(symptom => {
                  const its = idOf(symptom)
                  return (
                    <li key={its} class={symptom.severity}>
                      <Row finding={symptom} {...{ observation, recentOf }} open={toggled.has(its)} toggle={() => toggle(its)} isSymptom />
                      {toggled.has(its) ? <Details finding={symptom} /> : null}
                    </li>
                  )
                })}
              </ol>
            )}
          </li>
        )
      })}
    </ol>
  )
}

interface RowProps {
  finding: Finding
  observation: Observation
  recentOf: RecentOf
  open: boolean
  toggle: () => void
  isSymptom?: boolean
}

/** A finding in a row: whose, what, how much, since when, until when. */
function Row({ finding, observation, recentOf, open, toggle, isSymptom = false }: RowProps) {
  const { who, besides } = actorOf(finding)
  const { port, path, direction } = finding.subject
  const isBlamed = blamed(finding) !== null
  const what = isBlamed ? wrong(finding) : isSymptom ? '' : say.finding.mustAct(who)
  const places = [
    besides,
    port === null ? '' : say.finding.port(port, direction === 'inbound'),
    path ?? '',
  ].filter(Boolean)
  const recent = recentOf(finding)
  return (
    <h2 class="row">
      <button type="button" aria-expanded={open} onClick={toggle}>
        <span class="badge">{say.severity[finding.severity]}</span>
        <span class="who"><bdi>{isBlamed ? who : wrong(finding)}</bdi>{places.length > 0 ? <small>{places.map((text, at) => <bdi key={at}>{at > 0 ? ' · ' : ''}{text}</bdi>)}</small> : null}</span>
        <span class="what">{isSymptom ? <small>{say.finding.causedBy}</small> : null}{what}</span>
        <span class="figures">
          <Figure kind="now"><strong>{amount(finding)}</strong></Figure>
          {recent === null || finding.state === null || !KEPT.includes(finding.state) ? null : (
            <Spark recent={recent} series={finding.state} label={say.finding.lastHour} />
          )}
          <Aged finding={finding} />
          <Grown finding={finding} />
          {finding.deadline === null ? null : (
            <Figure kind="fails">
              {finding.deadline.seconds > 0 ? duration(finding.deadline.seconds) : say.finding.failsNow}
            </Figure>
          )}
          <AlertFigure finding={finding} observation={observation} />
        </span>
      </button>
    </h2>
  )
}

/** Their names say nothing of what is wrong. */
const USUAL: State[] = ['listen', 'established']

/** What is wrong, in words that follow the name; of no known service, the title. */
function wrong(finding: Finding): string {
  const { actor: { does }, state, title } = finding
  const what = does !== null && blamed(finding) !== null ? does.one : title
  return state === null || USUAL.includes(state) ? what : what + say.bracketed(nameOf(state))
}

/** The detector's own figure: a ratio is below its limit of 1; of a queue that is not full, what waits in it. */
function amount(finding: Finding): string {
  const { value, limit } = finding
  if (limit > 1 || value > 1) return count(value)
  const waiting = value < limit ? figure(finding, 'queue', 'count') : null
  return waiting === null ? percent(value) : count(waiting)
}

/** Each kind has a column of its own where there is room. */
type Kind = 'now' | 'oldest' | 'growth' | 'fails' | 'alert'

function Figure({ kind, children }: { kind: Kind; children: ComponentChildren }) {
  return <span class={`figure ${kind}`}><small>{say.finding[kind]}</small> {children}</span>
}

function Aged({ finding }: { finding: Finding }) {
  const oldest = figure(finding, 'oldest', 'seconds')
  return oldest === null ? null : <Figure kind="oldest">{duration(oldest)}</Figure>
}

function Grown({ finding }: { finding: Finding }) {
  const growth = figure(finding, 'growth', 'per_minute')
  if (growth === null) return null
  if (growth === 0) return <Figure kind="growth">0</Figure>
  return <Figure kind="growth">{growth > 0 ? '+' : '−'}{decimal(Math.abs(growth))}</Figure>
}

function AlertFigure({ finding, observation }: { finding: Finding; observation: Observation }) {
  const alert = alertOf(finding, observation)
  if (alert === null) return null
  const age = duration(observation.taken_at - (alert.firing_since ?? alert.since), 1)
  const severity = alert.labels['severity']
  const as = severity === finding.severity || severity === undefined ? ''
    : ` ${say.finding.alertAs(say.severity[severity as Finding['severity']])}`
  return <Figure kind="alert">{say.finding.alertFor(say.alert[alert.state], age)}{as}</Figure>
}

/** What helps, by purpose, each command with a button that copies it. */
function Details({ finding }: { finding: Finding }) {
  const { critical_because: because } = finding
  return (
    <div class="details">
      <p class="summary">{finding.summary}{say.stop}</p>
      {because === null ? null : <p class="because">{say.finding.because(because)}</p>}
      <div class="purposes">
        {PURPOSES.map(purpose => <Section key={purpose} purpose={purpose} finding={finding} />)}
      </div>
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
      <h3>{say.finding.purposes[purpose]}</h3>
      {isEvidence ? <Evidence finding={finding} /> : null}
      {advice.length === 0 ? null : (
        <ul class="advice">{advice.map(each => <Item key={each.text} advice={each} />)}</ul>
      )}
      {isEvidence ? (
        <a class="runbook" href={`/runbooks/${finding.alert['alertname'] ?? ''}?lang=${language}`}>
          {say.finding.runbook}{say.colon}{finding.alert['alertname']}
        </a>
      ) : null}
    </section>
  )
}

function Item({ advice: { text, command } }: { advice: Advice }) {
  return <li>{text}{command === null ? null : <CommandLine command={command} />}</li>
}

function Evidence({ finding }: { finding: Finding }) {
  const { deadline, subject: { owner } } = finding
  return (
    <dl class="evidence">
      {deadline === null ? null : <Fact name={say.finding.fails}>{until(deadline)}</Fact>}
      {owner === null || owner.fds === null || owner.fd_limit === null ? null : (
        <Fact name={say.finding.descriptors}>
          {say.finding.ofLimit(count(owner.fds), count(owner.fd_limit), percent(owner.fds / owner.fd_limit))}
        </Fact>
      )}
      {lines(finding).map(({ name, text }) => <Fact key={name} name={name}>{text}</Fact>)}
      {finding.owners.length > 1 ? (
        <Fact name={say.finding.heldBy}>{finding.owners.map(holder).join(say.comma)}</Fact>
      ) : null}
    </dl>
  )
}

const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div><dt>{name}</dt><dd>{children}</dd></div>
)

const holder = ({ name, pid }: Process): string =>
  pid === null ? name : name + say.bracketed(say.finding.pid(pid))
