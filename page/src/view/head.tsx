import type { Observation } from '../model/message'
import type { Status } from '../model/status'
import { ThemeChoice } from './theme'

export function Head({ observation, status }: { observation: Observation | null; status: Status }) {
  return (
    <header>
      <span class="wordmark">sockmon</span>
      <span class="host">{observation?.host}</span>
      <span class={`pulse ${status.kind}`}>{status.kind === 'gone' ? 'gone' : `${status.text} ${status.counting}`.trim()}</span>
      <ThemeChoice />
    </header>
  )
}
