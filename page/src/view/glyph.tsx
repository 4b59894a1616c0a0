import type { Level } from '../model/verdict'

const PATHS: Record<Level, string> = {
  ok: 'M5 12.5l4.5 4.5L19 7.5',
  warning: 'M12 5v9M12 17.5v1.5',
  critical: 'M6.5 6.5l11 11M17.5 6.5l-11 11',
  unknown: 'M8.5 9a3.5 3.5 0 1 1 5 3.2c-1 .6-1.5 1.2-1.5 2.3M12 18v1',
}

/** A verdict at a glance: by shape as well as colour. */
export function Glyph({ level }: { level: Level }) {
  return <svg class="glyph" viewBox="0 0 24 24" aria-hidden="true"><path d={PATHS[level]} /></svg>
}
