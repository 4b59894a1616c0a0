import type { Observation } from '../model/message'
import type { Status } from '../model/status'
import { readers, type Zone } from '../model/time'
import { CHOICES, language, localeOf, ownName, say, type Language } from '../words'
import { Choice } from './choice'
import { ThemeChoice } from './theme'

/** Whose clock times are read from: the host's, or the reader's. */
export type Whose = 'server' | 'mine'

export function Head(props: {
  observation: Observation | null
  status: Status
  zone: Zone
  whose: Whose
  setWhose: (whose: Whose) => void
  setLanguage: (language: Language) => void
}) {
  const { observation, status, zone, whose, setWhose, setLanguage } = props
  return (
    <header>
      <span class="wordmark">sockmon</span>
      <bdi class="host">{observation?.host}</bdi>
      {observation === null ? null : <ZoneChoice {...{ observation, zone, whose, setWhose }} />}
      <span class={`pulse ${status.kind}`}>{status.kind === 'gone' ? say.head.gone : [status.text, status.counting].filter(Boolean).join(say.space)}</span>
      <Choice name={say.head.language} values={CHOICES} chosen={language} choose={setLanguage} text={ownName} lang={localeOf} />
      <ThemeChoice />
    </header>
  )
}

/** The zone of all times; a choice where the reader's clock differs from the host's. */
function ZoneChoice(props: { observation: Observation; zone: Zone; whose: Whose; setWhose: (whose: Whose) => void }) {
  const { observation, zone, whose, setWhose } = props
  const mine = readers(observation.taken_at)
  const { name, offset_seconds } = observation.zone
  if (mine.offset === offset_seconds) return <span class="zone">{zone.name}</span>
  return (
    <Choice
      name={say.head.zone}
      values={['server', 'mine'] as const}
      chosen={whose}
      choose={setWhose}
      text={each => (each === 'server' ? say.head.server(name) : say.head.mine(mine.name))}
    />
  )
}
