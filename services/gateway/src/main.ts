// The gateway's process: configuration, start, signals.
import { runService } from '@fieldline/service/run-main'
import { createApp } from './app.ts'
import { fields } from './config.ts'

process.exit(await runService({ name: 'gateway', fields, createApp }))
