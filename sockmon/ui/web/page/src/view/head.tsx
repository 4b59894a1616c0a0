import type { Namespace, Observation } from '../model/message'
import type { Status } from '../model/status'
import { ThemeChoice } from './theme'

export function Head(props: {
  observation: Observation | null
  namespace: Namespace | null
  choose: (netns: string) => void
  status: Status
}) {
  const { observation, namespace, choose, status } = props
  return (
    <header>
      <span class="wordmark">sockmon</span>
      <span class="host">{observation?.host}</span>
      {observation && observation.namespaces.length > 1 ? (
        <label class="netns">
          namespace{' '}
          <select value={namespace?.netns ?? ''} onChange={event => choose(event.currentTarget.value)}>
            {observation.namespaces.map(({ netns }) => (
              <option key={netns}>{netns}</option>
            ))}
          </select>
        </label>
      ) : null}
      <span class={`pulse ${status.kind}`}>{status.kind === 'gone' ? 'gone' : `${status.text} ${status.counting}`.trim()}</span>
      <ThemeChoice />
    </header>
  )
}
