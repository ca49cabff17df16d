// Loaded into the program under test by `node --expose-gc --import`: tells how much heap is in use when it is asked over IPC.
process.on('message', () => {
  globalThis.gc()
  globalThis.gc()
  process.send(process.memoryUsage().heapUsed)
})
process.channel.unref()
