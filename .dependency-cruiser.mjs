// The dependency rule of the house (docs: architecture "Rooms inside a service"): who may import whom. Run by `npm run deps`.
const rules =
  '^services/([^/]+/src/.*(conversations/(conversation|lifecycle|visibility)|messages/message|people/person|assignment/assignment|presence/presence|tally)|realtime/src/(lane|cursor))\\.ts$'

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'services-do-not-import-one-another',
      severity: 'error',
      from: { path: '^services/([^/]+)/' },
      to: { path: '^services/', pathNot: '^services/$1/' },
    },
    {
      name: 'libs-do-not-import-services',
      severity: 'error',
      from: { path: '^libs/', pathNot: '^libs/testing/' },
      to: { path: '^services/' },
    },
    {
      name: 'contracts-import-nothing-of-ours',
      severity: 'error',
      from: { path: '^libs/contracts/src' },
      to: { path: '^(libs/(?!contracts)|services)' },
    },
    {
      name: 'rules-are-pure',
      comment: 'A rule knows no transport, no database, no process.',
      severity: 'error',
      from: { path: rules },
      to: { path: ['node_modules/(express|mongoose|amqplib|socket\\.io|undici|minio|pino)/', '\\.(store|routes|socket|consumer)\\.'] },
    },
    { name: 'rules-use-no-node', severity: 'error', from: { path: rules }, to: { dependencyTypes: ['core'] } },
    {
      name: 'only-stores-know-a-database',
      severity: 'error',
      from: {
        path: '^(services|libs)/[^/]+/src/',
        pathNot: '(\\.mongo|\\.sqlite|/mongo|/sqlite)\\.ts$|^libs/(testing|bus/src/(dead|memory))',
      },
      to: { path: ['node_modules/mongoose/', '^(node:)?sqlite$'] },
    },
    {
      name: 'only-the-bus-knows-the-broker',
      severity: 'error',
      from: { path: '^(services|libs)/[^/]+/src/', pathNot: '^libs/(bus|testing)/' },
      to: { path: 'node_modules/amqplib/' },
    },
    {
      name: 'tests-and-scripts-stay-out-of-products',
      severity: 'error',
      from: { path: '^(services|libs)/[^/]+/src/', pathNot: '^libs/testing/' },
      to: { path: '(^libs/testing/|/test/|^tests/|^scripts/|^bench/)' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(data|docs)/' },
    tsPreCompilationDeps: true,
    parser: 'swc',
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.mjs', '.js', '.json'],
    },
  },
}
