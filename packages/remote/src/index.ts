export type { RemoteServer } from './remote-server.js'
export type { ReconnectOptions, RemoteHeaders, RemoteServerOptions, RemoteTransport } from './options.js'
