/** A unit's name as people say it, for a headline. */
export const short = (name: string): string => name.replace(/\.service$/, '')
