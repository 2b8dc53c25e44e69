// `npm run token -- --role Support --sub s1`: a token signed with this machine's secret, alone on stdout.
import { parseArgs } from 'node:util'
import { roles } from '@fieldline/contracts/people'
import { localSecrets } from './lib/secrets.ts'
import { tokenFor } from './lib/token.ts'

const usage =
  'usage: npm run token -- --role User|Support|Admin --sub ID [--first-name NAME] [--last-name NAME] [--phone NUMBER] [--expires-in 12h]'

function fail(message: string): never {
  console.error(`${message}\n${usage}`)
  process.exit(1)
}

try {
  const { values } = parseArgs({
    options: {
      role: { type: 'string' },
      sub: { type: 'string' },
      'first-name': { type: 'string' },
      'last-name': { type: 'string' },
      phone: { type: 'string' },
      'expires-in': { type: 'string', default: '12h' },
    },
  })
  const role = roles.find((one) => one === values.role)
  if (!role) fail(`--role must be ${roles.join(', ')}`)
  if (!values.sub) fail('--sub is missing: whom the token names')
  if (!/^\d+\s*(ms|s|m|h|d|w|y)?$/.test(values['expires-in'])) fail('--expires-in must be a span such as 5m, 12h or 7d')
  const { sub, phone, 'first-name': firstName = sub, 'last-name': lastName } = values
  const secrets = localSecrets(process.env.DATA_DIR || 'data')
  console.log(tokenFor({ role, sub, firstName, lastName, phone }, { ...process.env, ...secrets }, values['expires-in']))
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
}
