/** Ways about the page that leave its address alone: that names the namespace that is looked at. */

/** Handle a click on a link within the page. */
export const goTo =
  (id: string) =>
  (event: Event): void => {
    event.preventDefault()
    document.getElementById(id)?.setAttribute('open', '') // if it is folded
    move(id)
  }

/** Where the details of one namespace are, among many. */
export const DETAILS = 'namespace'

/** Handle a click on a link to a namespace: follow it, unless it opens a tab of its own. */
export function goToDetails(event: MouseEvent): void {
  if (!event.ctrlKey && !event.metaKey && !event.shiftKey) requestAnimationFrame(() => move(DETAILS))
}

export const show = (id: string): void => document.getElementById(id)?.scrollIntoView({ block: 'start' })

/** Show it, and go on from there by keyboard. */
function move(id: string): void {
  show(id)
  document.getElementById(id)?.focus({ preventScroll: true })
}
