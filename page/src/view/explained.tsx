import { older } from '../model/ages'
import { count, duration, plural } from '../model/format'
import type { Namespace, Observation, State } from '../model/message'
import { explanation, nameOf, totals, whereAbouts } from '../model/states'

export function Explained(props: { state: State; namespace: Namespace; observation: Observation }) {
  const { state, namespace, observation } = props
  const explained = explanation(state, namespace.settings)
  const here = totals(namespace)?.[state]
  return (
    <section class="card explained" aria-labelledby="state" data-state={state}>
      <h2 id="state"><span class={`swatch ${state}`} />{nameOf(state)}</h2>
      <p class="means">{explained.means}</p>
      <dl>
        <div><dt>Who acts next</dt><dd><strong>{explained.mover}.</strong> {explained.next}</dd></div>
        <div><dt>If there are many</dt><dd>{explained.many}</dd></div>
        <div>
          <dt>Here</dt>
          <dd>
            {here === undefined ? 'Not known.' : here === 0 ? 'None.' : `${plural(here, 'socket')}.`}{' '}
            {old(namespace, observation, state)}
            <ul>
              {whereAbouts(namespace, state).map(({ place, sockets }) => (
                <li key={place}>{count(sockets)} {place}</li>
              ))}
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
  return some === null || some.sockets === 0 ? '' : `${count(some.sockets)} for more than ${duration(some.seconds)}.`
}
