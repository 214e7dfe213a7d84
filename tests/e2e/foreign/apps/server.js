// The contract of README.md by Node's own http or http2:  server.js PORT http|http2
'use strict';
const crypto = require('crypto');
const http = require('http');
const http2 = require('http2');

const [port, kind] = process.argv.slice(2);
const block = Buffer.from(Array.from({ length: 65536 }, (_, i) => i % 251));
const waiting = [];
let releases = 0;

function release() {
  while (releases > 0 && waiting.length > 0) {
    releases -= 1;
    waiting.shift()();
  }
}

function sendBytes(res, left) {
  while (left > 0) {
    const piece = block.subarray(0, Math.min(left, block.length));
    left -= piece.length;
    if (!res.write(piece)) {
      res.once('drain', () => sendBytes(res, left));
      return;
    }
  }
  res.end();
}

const paths = {
  '/hello': (req, res) => {
    res.setHeader('x-spoken', `HTTP/${req.httpVersion}`);
    res.end('hello from node\n');
  },
  '/headers': (req, res) => res.end(JSON.stringify({ spoken: `HTTP/${req.httpVersion}`, headers: req.headers })),
  '/bytes': (req, res, query) => {
    const n = Number(query.get('n'));
    if (query.get('framing') !== 'chunked') res.setHeader('content-length', n);
    sendBytes(res, n);
  },
  '/sum': (req, res) => {
    const hash = crypto.createHash('sha256');
    let n = 0;
    req.on('data', (piece) => { n += piece.length; hash.update(piece); });
    req.on('end', () => res.end(`${n} ${hash.digest('hex')} ${req.trailers['x-checksum'] || ''}\n`));
  },
  '/echo': (req, res) => { res.flushHeaders?.(); req.pipe(res); },
  '/trailers': (req, res) => {
    res.setHeader('trailer', 'x-checksum');
    req.on('data', (piece) => res.write(piece));
    req.on('end', () => {
      res.addTrailers({ 'x-checksum': `seen=${req.trailers['x-checksum']}` });
      res.end();
    });
  },
  '/status': (req, res, query) => { res.writeHead(Number(query.get('code')), { etag: '"7"' }); res.end(); },
  '/close': (req, res) => {
    req.socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nup to the end');
  },
  '/events': (req, res) => {
    res.setHeader('content-type', 'text/event-stream');
    res.write('data: first\n\n');
    waiting.push(() => res.end('data: second\n\n'));
    release();
  },
  '/release': (req, res) => { releases += 1; release(); res.end(); },
  '/hints': (req, res) => { res.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' }); res.end('hinted\n'); },
};

function answer(req, res) {
  const url = new URL(req.url, 'http://server');
  const path = paths[url.pathname];
  if (path) path(req, res, url.searchParams);
  else { res.statusCode = 404; res.end(); }
}

(kind === 'http2' ? http2.createServer(answer) : http.createServer(answer)).listen(Number(port), '0.0.0.0');
