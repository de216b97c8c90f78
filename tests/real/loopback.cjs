// Preloaded into real servers that would listen on every address: a server of a test listens on loopback only.
const net = require('node:net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  const named = typeof rest[0] === 'string';
  const isPort = typeof port === 'number' || /^\d+$/.test(String(port));
  return listen.call(this, port, ...(isPort && !named ? ['127.0.0.1', ...rest] : rest));
};
