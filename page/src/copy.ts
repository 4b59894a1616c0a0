/** Put an element's text on the clipboard; false: the browser refused, and the text is selected instead. */
export async function copy(element: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(element.textContent ?? '') // absent where the page is not from HTTPS or loopback
    return true
  } catch {
    getSelection()?.selectAllChildren(element)
    return document.execCommand('copy')
  }
}
