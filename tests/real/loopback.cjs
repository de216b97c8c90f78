// Preloaded into real servers that would listen on every address: a server of a test listens on loopback only, and at the
// port in LISTEN_PORT if that is set, because some examples have a fixed one.
const net = require('node:net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  const named = typeof rest[0] === 'string';
  const isPort = typeof port === 'number' || /^\d+$/.test(String(port));
  const chosen = isPort && process.env.LISTEN_PORT ? Number(process.env.LISTEN_PORT) : port;
  return listen.call(this, chosen, ...(isPort && !named ? ['127.0.0.1', ...rest] : rest));
};
