// A service that does nothing but what a chassis must bear; run as a process by lifecycle.test.ts.
import { commonFields } from '../src/config.ts'
import { createHealth } from '../src/health.ts'
import { createHttp } from '../src/http.ts'
import { lifecycle } from '../src/lifecycle.ts'
import { createRegistry } from '../src/metrics.ts'
import { runService } from '../src/run-main.ts'

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

process.exit(
  await runService({
    name: 'fixture',
    fields: commonFields,
    createApp: (config, { log }) => {
      const [health, registry] = [createHealth(), createRegistry('fixture')]
      const http = createHttp({
        name: 'fixture',
        log,
        health,
        registry,
        host: config.host,
        port: config.port,
        drainMs: config.drainMs,
        routers: (app) => {
          app.get('/slow', (req, res) => {
            say({ slow: true })
            setTimeout(() => res.json({ done: true }), Number(req.query.ms))
          })
          app.post('/fault', (req, res) => {
            res.json({})
            if (req.query.how === 'reject') void Promise.reject(new Error('rejected'))
            else
              setImmediate(() => {
                throw new Error('thrown')
              })
          })
        },
      })
      const witness = { name: 'witness', stop: async () => void say({ stopping: true }) }
      return lifecycle([http, witness], { log, drainMs: config.drainMs, health, registry, name: 'fixture' })
    },
  }),
)
