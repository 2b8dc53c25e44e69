// Every row of the table, in its order.
import type { Row } from './lib/row.ts'
import { fanout } from './rows/fanout.ts'
import { growth } from './rows/growth.ts'
import { history } from './rows/history.ts'
import { idle } from './rows/idle.ts'
import { publish } from './rows/publish.ts'
import { replicas } from './rows/replicas.ts'
import { rest } from './rows/rest.ts'
import { send } from './rows/send.ts'
import { start } from './rows/start.ts'
import { storm } from './rows/storm.ts'
import { sustained } from './rows/sustained.ts'
import { ws } from './rows/ws.ts'

export const rows: readonly Row[] = [send, sustained, idle, rest, ws, fanout, publish, history, start, storm, replicas, growth]
