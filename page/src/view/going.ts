/** Links within the page. They leave its address alone, which names the namespace that is shown. */

/** Handle a click on a link within the page. */
export const goTo =
  (id: string) =>
  (event: Event): void => {
    event.preventDefault()
    for (let at = document.getElementById(id); at !== null; at = at.parentElement) {
      if (at instanceof HTMLDetailsElement) at.open = true
    }
    move(id)
  }

/** Where the details of one namespace are, among many. */
export const DETAILS = 'namespace'

/** Handle a click on a link to a namespace: show its details, unless the link opens a new tab. */
export function goToDetails(event: MouseEvent): void {
  if (!event.ctrlKey && !event.metaKey && !event.shiftKey) requestAnimationFrame(() => move(DETAILS))
}

export const show = (id: string): void => document.getElementById(id)?.scrollIntoView({ block: 'start' })

/** Show it, and continue there by keyboard. */
function move(id: string): void {
  show(id)
  document.getElementById(id)?.focus({ preventScroll: true })
}
