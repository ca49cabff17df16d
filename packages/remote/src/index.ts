export { remoteServer, type RemoteServer } from './remote-server.js'
export {
  DEFAULT_MAX_CALLS, DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_RECONNECT, DEFAULT_REQUEST_TIMEOUT,
  type ReconnectOptions, type RemoteHeaders, type RemoteServerOptions, type RemoteTransport,
} from './options.js'
