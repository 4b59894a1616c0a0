import { useState } from 'preact/hooks'

const THEMES = ['auto', 'light', 'dark'] as const
type Theme = (typeof THEMES)[number]

const KEY = 'sockmon.theme'

/** What was chosen here before; storage may be forbidden. */
export function savedTheme(): Theme {
  try {
    const saved = localStorage.getItem(KEY)
    return THEMES.find(theme => theme === saved) ?? 'auto'
  } catch {
    return 'auto'
  }
}

export function applyTheme(theme: Theme): void {
  document.documentElement.dataset['theme'] = theme
  try {
    localStorage.setItem(KEY, theme)
  } catch {
    // Then it is kept for this visit only.
  }
}

export function ThemeChoice() {
  const [chosen, setChosen] = useState(savedTheme)
  return (
    <fieldset class="choice">
      <legend class="unseen">Colours</legend>
      {THEMES.map(theme => (
        <button
          type="button"
          key={theme}
          aria-pressed={theme === chosen}
          onClick={() => {
            applyTheme(theme)
            setChosen(theme)
            dispatchEvent(new Event('themechange'))
          }}
        >
          {theme}
        </button>
      ))}
    </fieldset>
  )
}
