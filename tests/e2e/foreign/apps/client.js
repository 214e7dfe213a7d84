// Clients of Node's own http and http2; each prints one JSON value.
//   reuse URL COUNT     COUNT requests one after the other by a keep-alive agent: [statuses, sockets]
//   pipeline URL COUNT  COUNT requests in one write on one connection: the bodies
//   trailers URL [TE]   POST with a trailer, saying or not that it takes some itself: {status, body, trailers}
//   continue URL BYTES  Expect: 100-continue; sends only when told to: {continued, status, body}
//   hints URL           {hints, status, body}
//   events URL          the events; asks for /release once the first has arrived
//   duplex URL COUNT    COUNT pieces, each sent once the one before has come back: what came back
//   websocket URL TEXT  by hand: {status, text}
//   h2 URL COUNT [PATH] COUNT streams at once on one HTTP/2 connection, before them one to PATH: [{status, body}]
//   h2ping URL          a PING and a request after it: {acknowledged, status}
'use strict';
const crypto = require('crypto');
const http = require('http');
const http2 = require('http2');
const net = require('net');

const [command, address, argument, another] = process.argv.slice(2);
const url = new URL(address);
const print = (value) => console.log(JSON.stringify(value));

function collect(stream, then) {
  const pieces = [];
  stream.on('data', (piece) => pieces.push(piece));
  stream.on('end', () => then(Buffer.concat(pieces).toString('latin1')));
}

const commands = {
  reuse() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const statuses = [];
    const sockets = new Set();
    (function next() {
      if (statuses.length === Number(argument)) {
        print([statuses, sockets.size]);
        agent.destroy();
        return;
      }
      http.get(url, { agent }, (res) => {
        sockets.add(res.socket);
        statuses.push(res.statusCode);
        collect(res, next);
      });
    })();
  },
  pipeline() {
    const socket = net.connect(Number(url.port), url.hostname);
    const count = Number(argument);
    let text = '';
    for (let i = 0; i < count; i += 1) {
      const last = i === count - 1 ? 'Connection: close\r\n' : '';
      text += `POST ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: ${`${i}`.length}\r\n${last}\r\n${i}`;
    }
    socket.write(text);
    collect(socket, print);
  },
  trailers() {
    const headers = { 'transfer-encoding': 'chunked', trailer: 'x-checksum', ...(argument && { te: 'trailers', connection: 'TE' }) };
    const req = http.request(url, { method: 'POST', headers }, (res) => {
      collect(res, (body) => print({ status: res.statusCode, body, trailers: res.trailers }));
    });
    req.write('with a trailer');
    req.addTrailers({ 'x-checksum': 'abc' });
    req.end();
  },
  continue() {
    let continued = false;
    const req = http.request(url, { method: 'POST', headers: { expect: '100-continue', 'content-length': argument } }, (res) => {
      collect(res, (body) => print({ continued, status: res.statusCode, body }));
    });
    req.on('continue', () => { continued = true; req.end(Buffer.alloc(Number(argument), 'x')); });
    req.flushHeaders();
  },
  hints() {
    const hints = [];
    const req = http.get(url, (res) => collect(res, (body) => print({ hints, status: res.statusCode, body })));
    req.on('information', (info) => hints.push([info.statusCode, info.headers.link]));
  },
  events() {
    http.get(url, (res) => {
      const seen = [];
      res.on('data', (piece) => {
        seen.push(piece.toString());
        if (seen.length === 1) http.get(new URL('/release', url), (released) => released.resume());
      });
      res.on('end', () => print(seen));
    });
  },
  duplex() {
    const back = [];
    const req = http.request(url, { method: 'POST', headers: { 'transfer-encoding': 'chunked' } }, (res) => {
      res.on('data', (piece) => {
        back.push(piece.toString());
        if (back.length < Number(argument)) req.write(`piece ${back.length}`);
        else req.end();
      });
      res.on('end', () => print(back));
    });
    req.write('piece 0');
  },
  websocket() {
    const key = crypto.randomBytes(16).toString('base64');
    const req = http.request(url, {
      headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': key },
    }, (res) => { print({ status: res.statusCode, text: null }); res.resume(); });
    req.on('upgrade', (res, socket, head) => {
      const wanted = crypto.createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      if (res.headers['sec-websocket-accept'] !== wanted) throw new Error('wrong sec-websocket-accept');
      const mask = crypto.randomBytes(4);
      const payload = Buffer.from(argument).map((byte, i) => byte ^ mask[i % 4]);
      socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload]));
      let data = head;
      const look = () => {
        if (data.length >= 2 && data.length >= 2 + data[1]) {
          print({ status: res.statusCode, text: data.subarray(2, 2 + data[1]).toString() });
          socket.destroy();
        }
      };
      socket.on('data', (piece) => { data = Buffer.concat([data, piece]); look(); });
      look();
    });
    req.end();
  },
  h2() {
    const session = http2.connect(url.origin);
    const answers = [];
    const paths = Array(Number(argument)).fill(url.pathname + url.search);
    if (another) paths.unshift(another);
    for (const path of paths) {
      const stream = session.request({ ':path': path });
      let status;
      stream.on('response', (headers) => { status = headers[':status']; });
      collect(stream, (body) => {
        answers.push({ status, body });
        if (answers.length === paths.length) { print(answers); session.close(); }
      });
    }
  },
  h2ping() {
    const session = http2.connect(url.origin);
    session.on('connect', () => session.ping(Buffer.from('mesh pin'), (error, duration, payload) => {
      const stream = session.request({ ':path': url.pathname });
      stream.on('response', (headers) => print({ acknowledged: payload.toString(), status: headers[':status'] }));
      stream.resume();
      stream.on('end', () => session.close());
    }));
  },
};

commands[command]();
