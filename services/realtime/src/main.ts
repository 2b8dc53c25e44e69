// Realtime as a process of its own.
import { runService } from '@fieldline/service/run-main'
import { createApp } from './app.ts'
import { fields } from './config.ts'

process.exit(await runService({ name: 'realtime', fields, createApp }))
