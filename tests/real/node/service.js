// A small real service: `service.js PORT`; /order calls CALLS with axios, as it comes or, where
// LIBRARY says so, with axios-retry in its default settings. /set?library=axios-retry changes to it
// from then on, and /set puts back.
const http = require('node:http');
const axios = require('axios');
const axiosRetry = require('axios-retry').default;

const clients = { axios: axios.create({ timeout: 5000 }), 'axios-retry': axios.create({ timeout: 5000 }) };
axiosRetry(clients['axios-retry']);
const start = process.env.LIBRARY || 'axios';
let library = start;

http
  .createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://here');
    if (pathname === '/set') library = searchParams.get('library') || start;
    if (pathname !== '/order') return response.end('ok');
    let status;
    try {
      status = (await clients[library].get(process.env.CALLS)).status;
    } catch (error) {
      status = error.response ? error.response.status : 599;
    }
    response.statusCode = status < 400 ? 200 : 502;
    response.end(JSON.stringify({ called: status }));
  })
  .listen(Number(process.argv[2]), '127.0.0.1');
