import { older } from '../model/ages'
import { count, duration } from '../model/format'
import type { Namespace, Observation, State } from '../model/message'
import { say } from '../words'
import { explanation, nameOf, totals, whereAbouts } from '../model/states'

export function Explained(props: { state: State; namespace: Namespace; observation: Observation }) {
  const { state, namespace, observation } = props
  const explained = explanation(state, namespace.settings)
  const its = say.states
  const here = totals(namespace)?.[state]
  return (
    <section class="explained" aria-labelledby="state" data-state={state}>
      <h3 id="state"><span class={`swatch ${state}`} />{nameOf(state)}</h3>
      <p class="means">{explained.means}</p>
      <dl>
        <div><dt>{its.acts}</dt><dd><strong>{explained.mover}{say.stop}</strong> {explained.next}</dd></div>
        <div><dt>{its.many}</dt><dd>{explained.many}</dd></div>
        <div>
          <dt>{its.here}</dt>
          <dd>
            {here === undefined ? its.notKnown : here === 0 ? its.none : its.count(count(here), here === 1)}{' '}
            {old(namespace, observation, state)}
            <ul>
              {whereAbouts(namespace, state).map(place => <li key={place}>{place}</li>)}
            </ul>
          </dd>
        </div>
      </dl>
    </section>
  )
}

/** How many are old, where ages are known. */
function old(namespace: Namespace, observation: Observation, state: State): string {
  const some = older(namespace, observation, state)
  return some === null || some.sockets === 0 ? '' : say.states.older(count(some.sockets), duration(some.seconds))
}
