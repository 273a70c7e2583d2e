// Maps a port with the package nat-pmp from npm.
//
// Usage: node npm_nat_pmp.js GATEWAY PROTOCOL PORT LIFETIME
//
// It writes the public address and the granted mapping as one line of JSON.
'use strict'

const [gateway, protocol, port, lifetime] = process.argv.slice(2)
const client = require('nat-pmp').connect(gateway)

function done (err, result) {
  client.close()
  if (err) {
    console.error(err)
    process.exitCode = 1
    return
  }
  console.log(JSON.stringify(result))
}

client.externalIp((err, reply) => {
  if (err) return done(err)
  const address = reply.ip.join('.')
  client.portMapping({ type: protocol, private: +port, public: 0, ttl: +lifetime }, (err, granted) => {
    if (err) return done(err)
    done(null, { address, external: granted.public, lifetime: granted.ttl })
  })
})
