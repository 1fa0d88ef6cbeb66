// A small real service: `service.js PORT`; /order calls CALLS with axios and axios-retry as they
// come, in their default settings.
const http = require('node:http');
const axios = require('axios');
const axiosRetry = require('axios-retry').default;

const client = axios.create({ timeout: 5000 });
axiosRetry(client);

http
  .createServer(async (request, response) => {
    if (request.url === '/healthz') return response.end('ok');
    let status;
    try {
      status = (await client.get(process.env.CALLS)).status;
    } catch (error) {
      status = error.response ? error.response.status : 599;
    }
    response.statusCode = status < 400 ? 200 : 502;
    response.end(JSON.stringify({ called: status }));
  })
  .listen(Number(process.argv[2]), '127.0.0.1');
