// The media service as a process.
import { setFlagsFromString } from 'node:v8'
import { runService } from '@fieldline/service/run-main'
import { createApp } from './app.ts'
import { fields } from './config.ts'

// Chunks of files lie outside V8's heap: by itself it lets 64 MiB of them gather before it looks for garbage, so 16 (README.md). NODE_OPTIONS does not take this one.
setFlagsFromString('--scavenger-max-new-space-capacity-mb=8')

process.exit(await runService({ name: 'media', fields, createApp }))
