// An HTTPS server that speaks HTTP/1.1 and HTTP/2:  https.js PORT CHAIN KEY TEXT
'use strict';
const fs = require('fs');
const http2 = require('http2');

const [port, chain, key, text] = process.argv.slice(2);
const options = { allowHTTP1: true, cert: fs.readFileSync(chain), key: fs.readFileSync(key) };
http2.createSecureServer(options, (req, res) => {
  res.setHeader('x-spoken', `HTTP/${req.httpVersion}`);
  res.setHeader('x-server-name', req.socket.servername || '');
  req.resume();
  req.on('end', () => res.end(`${text}\n`));
}).listen(Number(port), '0.0.0.0');
