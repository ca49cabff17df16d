/** Says where an app listens, and ends it in order: on a signal the app closes, and its children with it. */
export function announce (app) {
  console.log(`listening on ${app.listeningOrigin}`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
}
