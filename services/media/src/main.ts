// The media service as a process.
import { runService } from '@fieldline/service/run-main'
import { createApp } from './app.ts'
import { fields } from './config.ts'

process.exit(await runService({ name: 'media', fields, createApp }))
