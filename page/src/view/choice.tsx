/** A few choices side by side, one of which is chosen. */
export function Choice<Value extends string>(props: {
  name: string
  values: readonly Value[]
  chosen: Value
  choose: (value: Value) => void
  text: (value: Value) => string
  /** The language of each text, if it is not the page's. */
  lang?: (value: Value) => string
}) {
  const { name, values, chosen, choose, text, lang } = props
  return (
    <fieldset class="choice">
      <legend class="unseen">{name}</legend>
      {values.map(value => (
        <button type="button" key={value} lang={lang?.(value)} aria-pressed={value === chosen} onClick={() => choose(value)}>
          {text(value)}
        </button>
      ))}
    </fieldset>
  )
}
