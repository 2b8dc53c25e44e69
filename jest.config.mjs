// Jest, in native ES modules. Three projects: unit (rules and adapters in this process), e2e (the whole, from outside), faults and security (the same, attacked).
const shared = {
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': ['<rootDir>/scripts/jest-types.mjs', {}] },
  testEnvironment: 'node',
  modulePathIgnorePatterns: ['<rootDir>/data/'],
}
const project = (displayName, ...folders) => ({
  ...shared,
  displayName,
  rootDir: import.meta.dirname,
  testMatch: folders.map((folder) => `<rootDir>/${folder}/**/*.test.ts`),
})

export default {
  projects: [
    project('unit', 'libs/*/test', 'services/*/test', 'scripts/test', 'bench/test'),
    project('e2e', 'tests/e2e'),
    project('faults', 'tests/faults'),
    project('security', 'tests/security'),
  ],
  coverageProvider: 'v8',
  testTimeout: 60_000,
  maxWorkers: 2,
  workerIdleMemoryLimit: '1GB',
}
