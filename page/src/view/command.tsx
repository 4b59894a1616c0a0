import { useRef, useState } from 'preact/hooks'
import { copy } from '../copy'
import type { Command } from '../model/message'

const SAYS = { ready: 'copy', copied: 'copied', selected: 'press Ctrl+C' }

const COPIED_FOR_MS = 3000

/** A command on a line of its own, with a button that copies it. */
export function CommandLine({ command }: { command: Command }) {
  const line = useRef<HTMLElement>(null)
  const [state, setState] = useState<keyof typeof SAYS>('ready')
  const take = async (): Promise<void> => {
    if (line.current === null) return
    setState((await copy(line.current)) ? 'copied' : 'selected')
    setTimeout(() => setState('ready'), COPIED_FOR_MS)
  }
  const notes = [
    command.where === 'peer' ? 'on the peer' : '',
    command.effect === 'changes' ? 'changes the system' : '',
  ].filter(Boolean)
  return (
    <div class="command">
      {notes.length > 0 ? <span class="note">{notes.join(' · ')}</span> : null}
      <div class="copyable">
        <code ref={line}>{command.line.split(' ').map((word, at) => [at > 0 ? ' ' : '', <span key={at}>{word}</span>])}</code>
        <button type="button" aria-live="polite" aria-label={state === 'ready' ? 'Copy the command' : SAYS[state]} onClick={take}>
          {SAYS[state]}
        </button>
      </div>
    </div>
  )
}
