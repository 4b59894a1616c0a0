import type { ComponentChildren } from 'preact'

/** What must be known first. Screen readers do not announce changes of the children. */
export function Banner(props: { title: string; text: string; children?: ComponentChildren }) {
  return (
    <div class="banner">
      <span role="alert"><strong>{props.title}</strong> {props.text}</span> {props.children}
    </div>
  )
}
