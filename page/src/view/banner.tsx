import type { ComponentChildren } from 'preact'

/** What must be known before anything else is read; the children are not read out each time. */
export function Banner(props: { title: string; text: string; children?: ComponentChildren }) {
  return (
    <div class="banner">
      <span role="alert"><strong>{props.title}</strong> {props.text}</span> {props.children}
    </div>
  )
}
