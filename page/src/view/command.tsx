import { useRef, useState } from 'preact/hooks'
import { copy } from '../copy'
import type { Command } from '../model/message'
import { say } from '../words'

const COPIED_FOR_MS = 3000

/** A command on a line of its own, with a button that copies it. */
export function CommandLine({ command }: { command: Command }) {
  const line = useRef<HTMLElement>(null)
  const [state, setState] = useState<'copy' | 'copied' | 'selected'>('copy')
  const take = async (): Promise<void> => {
    if (line.current === null) return
    setState((await copy(line.current)) ? 'copied' : 'selected')
    setTimeout(() => setState('copy'), COPIED_FOR_MS)
  }
  const notes = [
    command.where === 'peer' ? say.finding.onPeer : '',
    command.effect === 'changes' ? say.finding.changes : '',
  ].filter(Boolean)
  return (
    <div class="command">
      {notes.length > 0 ? <span class="note">{notes.join(' · ')}</span> : null}
      <div class="copyable">
        <code ref={line}>{command.line.split(' ').map((word, at) => [at > 0 ? ' ' : '', <span key={at}>{word}</span>])}</code>
        <button
          type="button"
          aria-live="polite"
          aria-label={state === 'copy' ? say.finding.copyLabel : say.finding[state]}
          onClick={take}
        >
          {say.finding[state]}
        </button>
      </div>
    </div>
  )
}
