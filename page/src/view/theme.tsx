import { useState } from 'preact/hooks'
import { say } from '../words'
import { Choice } from './choice'

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
  const choose = (theme: Theme): void => {
    applyTheme(theme)
    setChosen(theme)
    dispatchEvent(new Event('themechange'))
  }
  return <Choice name={say.head.colours} values={THEMES} text={theme => say.head.themes[theme]} {...{ chosen, choose }} />
}
