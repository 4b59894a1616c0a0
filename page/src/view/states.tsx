import { useState } from 'preact/hooks'
import type { Namespace, Observation, State } from '../model/message'
import { worstState } from '../model/verdict'
import { say } from '../words'
import { Diagram } from './diagram'
import { Explained } from './explained'

/** The states of a connection, and what each means; folded, since it is for those who are new to it. */
export function States({ namespace, observation }: { namespace: Namespace; observation: Observation }) {
  const [state, setState] = useState<State | null>(null)
  const [open, setOpen] = useState(false)
  const shown = state ?? worstState(namespace)
  return (
    <details class="card states" open={open} onToggle={event => setOpen(event.currentTarget.open)}>
      <summary><h2>{say.states.fold}</h2></summary>
      {open ? (
        <div class="columns">
          <Diagram namespace={namespace} chosen={shown} choose={setState} />
          <Explained state={shown} namespace={namespace} observation={observation} />
        </div>
      ) : null}
    </details>
  )
}
