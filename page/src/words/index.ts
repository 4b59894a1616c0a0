/** The page's language: what was chosen here, else what the browser asks for. */

import { en, type Words } from './en'
import { zh } from './zh'

const LANGUAGES = { en, zh }
export type Language = keyof typeof LANGUAGES
export const CHOICES = Object.keys(LANGUAGES) as Language[]

const KEY = 'sockmon.language'

/** What the page says. */
export let say: Words = en
export let language: Language = 'en'

export const ownName = (of: Language): string => LANGUAGES[of].own
export const localeOf = (of: Language): string => LANGUAGES[of].locale

export function speak(chosen: Language): void {
  language = chosen
  say = LANGUAGES[chosen]
}

/** The first of the browser's languages that the page speaks; they are those of Accept-Language. */
export const preferred = (languages: readonly string[]): Language =>
  languages.map(each => each.toLowerCase().split('-')[0]).find(isLanguage) ?? 'en'

const isLanguage = (word: string | undefined): word is Language => word !== undefined && word in LANGUAGES

/** What was chosen here before, or is preferred; storage may be forbidden. */
export function saved(): Language {
  try {
    const chosen = localStorage.getItem(KEY) ?? undefined
    if (isLanguage(chosen)) return chosen
  } catch {
    // Then nothing was kept.
  }
  return preferred(navigator.languages)
}

export function keep(chosen: Language): void {
  try {
    localStorage.setItem(KEY, chosen)
  } catch {
    // Then it is kept for this visit only.
  }
}
