/** Reads server-sent events from chunks; calls back with the parsed data and the event's name. `endpoint` has plain text. */
export function eventReader (onevent) {
  let parts = []
  return (chunk) => {
    parts.push(chunk)
    // whole events only: an event of 10 MB comes in many chunks
    if (chunk.lastIndexOf('\n\n') === -1 && chunk.at(-1) !== 10) return
    const text = Buffer.concat(parts).toString()
    const end = text.lastIndexOf('\n\n')
    if (end === -1) return
    for (const block of text.slice(0, end).split('\n\n')) {
      let event = 'message'
      let data = ''
      for (const line of block.split('\n')) {
        if (line.startsWith('event:')) event = line.slice(6).trim()
        else if (line.startsWith('data:')) data += line.slice(5).trim()
      }
      if (event === 'endpoint') onevent(data, event)
      else if (data !== '') onevent(JSON.parse(data), event)
    }
    const rest = text.slice(end + 2)
    parts = rest === '' ? [] : [Buffer.from(rest)]
  }
}
