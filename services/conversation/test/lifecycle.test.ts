// What may happen to a conversation, and what mayn't (spec 3): every transition, by everyone.
import { type Status, statuses } from '@fieldline/contracts/conversations'
import { describe, expect, test } from '@jest/globals'
import { stateOf } from '../src/conversations/conversation.ts'
import { assign, changeStatus, claim, closeResolved, release } from '../src/conversations/lifecycle.ts'
import { mayRead, mayWrite } from '../src/conversations/visibility.ts'
import { read } from '../src/messages/marks.ts'
import { say } from '../src/messages/message.ts'
import { after, asha, conversation, given, later, meena, noon, rajesh, saying, sita, vikram } from './people-of-tests.ts'

const change = (to: Status, by: typeof asha) => (it: ReturnType<typeof conversation>) => changeStatus(it, { to, by, reason: null }, noon)

describe('a change of status by hand', () => {
  const allowed: Record<Status, readonly Status[]> = {
    waiting: ['closed'],
    open: ['waiting', 'resolved', 'closed'],
    resolved: ['closed'],
    closed: [],
  }
  for (const from of statuses) {
    for (const to of statuses) {
      if (from === to) {
        test(`${from} → ${to} changes nothing`, () =>
          given(conversation({ status: from }))
            .when(change(to, meena))
            .changesNothing())
      } else if (allowed[from].includes(to)) {
        test(`${from} → ${to} is allowed to an admin`, () => {
          const decision = changeStatus(conversation({ status: from }), { to, by: meena, reason: 'because' }, noon)
          expect(decision.after.status).toBe(to)
          expect(decision.facts.at(-1)).toMatchObject({ type: 'conversation.status-changed', from, to, reopened: false, by: 'meena' })
        })
      } else {
        const code = from === 'closed' ? 'CONVERSATION_CLOSED' : 'ILLEGAL_TRANSITION'
        test(`${from} → ${to} is ${code}`, () =>
          given(conversation({ status: from }))
            .when(change(to, meena))
            .throws(code))
      }
    }
  }

  test('is the assigned agent’s and an admin’s alone', () => {
    const it = conversation()
    given(it)
      .when(change('resolved', asha))
      .becomes({ status: 'resolved' }, [{ type: 'conversation.status-changed' }])
    for (const other of [vikram, rajesh, sita]) given(it).when(change('resolved', other)).throws('FORBIDDEN')
  })

  test('an agent who lost the conversation can no longer resolve it', () => {
    given(conversation({ assigned: vikram }))
      .when(change('resolved', asha))
      .throws('FORBIDDEN')
  })

  test('resolving gives the place back and keeps the agent named', () => {
    given(conversation())
      .when(change('resolved', asha))
      .becomes({ status: 'resolved', resolvedAt: noon, assigned: { person: asha, placeToken: null, at: noon } }, [{}])
  })

  test('giving it back puts it in the queue and remembers by whom', () => {
    given(conversation())
      .when(change('waiting', asha))
      .becomes({ status: 'waiting', assigned: null, waitingSince: noon, givenBack: [{ personId: 'asha', at: noon }] }, [
        { type: 'conversation.assigned', from: asha, to: null, reason: 'released-by-agent', by: 'asha' },
        { type: 'conversation.status-changed', from: 'open', to: 'waiting' },
      ])
  })
})

describe('who comes back to the queue stands there by their first unanswered message', () => {
  const gone = (it: ReturnType<typeof conversation>) =>
    release(it, { reason: 'agent-gone', note: null, by: 'system', queued: true }, later(9))
  const said = (it: ReturnType<typeof conversation>, by: typeof asha, at: number) => after(say(it, saying(by, 'x'), later(at)))

  test('whoever gave it back', () => {
    const asked = said(said(conversation(), rajesh, 1), rajesh, 2)
    for (const back of [gone, change('waiting', asha), change('waiting', meena)])
      given(asked)
        .when(back)
        .becomes({ status: 'waiting', waitingSince: later(1) }, [{}, {}])
  })
  test('an answer ends that wait, the next message begins another', () => {
    const answered = said(said(conversation(), rajesh, 1), asha, 2)
    given(answered).when(change('waiting', asha)).becomes({ waitingSince: noon }, [{}, {}])
    given(said(answered, rajesh, 3))
      .when(gone)
      .becomes({ waitingSince: later(3) }, [{}, {}])
  })
  test('what was unanswered when it was resolved counts no more', () => {
    const resolved = after(change('resolved', asha)(said(conversation(), rajesh, 1)))
    const reopened = after(say(resolved, saying(rajesh, 'again', { placeToken: 'place' }), later(5)))
    given(reopened)
      .when(gone)
      .becomes({ waitingSince: later(5) }, [{}, {}])
  })
})

describe('assignment', () => {
  const to = (agent: typeof asha) => ({ agent, placeToken: 'place', reason: 'least-busy' as const, note: null, by: 'system' })

  test('a waiting conversation becomes the agent’s', () => {
    given(conversation({ status: 'waiting' }))
      .when((it) => assign(it, to(asha), noon))
      .becomes({ status: 'open', waitingSince: null, assigned: { person: asha, placeToken: 'place', at: noon } }, [
        { type: 'conversation.assigned', from: null, to: asha, reason: 'least-busy' },
        { type: 'conversation.status-changed', from: 'waiting', to: 'open', reopened: false },
      ])
  })

  test('an open one goes from one agent to another without a change of status', () => {
    given(conversation())
      .when((it) => assign(it, to(vikram), noon))
      .becomes({ status: 'open' }, [{ type: 'conversation.assigned', from: asha, to: vikram }])
  })

  test('to the agent who has it already changes nothing', () =>
    given(conversation())
      .when((it) => assign(it, to(asha), noon))
      .changesNothing())
  test('not of a resolved one', () =>
    given(conversation({ status: 'resolved' }))
      .when((it) => assign(it, to(vikram), noon))
      .throws('ILLEGAL_TRANSITION'))
  test('not of a closed one', () =>
    given(conversation({ status: 'closed' }))
      .when((it) => assign(it, to(vikram), noon))
      .throws('CONVERSATION_CLOSED'))

  test('a claim takes what waits, and only that', () => {
    const claimed = (it: ReturnType<typeof conversation>) => claim(it, { agent: vikram, placeToken: 'p' }, noon)
    given(conversation({ status: 'waiting' }))
      .when(claimed)
      .becomes({ status: 'open' }, [{ reason: 'claimed', by: 'vikram' }, {}])
    given(conversation()).when(claimed).throws('ALREADY_ASSIGNED')
    given(conversation({ status: 'resolved' }))
      .when(claimed)
      .throws('ALREADY_ASSIGNED')
    given(conversation({ status: 'closed' }))
      .when(claimed)
      .throws('CONVERSATION_CLOSED')
  })

  test('an empty conversation that is given back stands in no queue until its first message', () => {
    const back = after(release(conversation(), { reason: 'empty', note: null, by: 'system', queued: false }, noon))
    expect(back).toMatchObject({ status: 'waiting', waitingSince: null })
    given(back)
      .when((it) => say(it, saying(rajesh, 'hello'), later(9)))
      .becomes({ status: 'waiting', waitingSince: later(9) }, [{ type: 'message.created' }])
  })

  test('giving back what waits changes nothing; what is resolved can’t be given back', () => {
    const back = (it: ReturnType<typeof conversation>) =>
      release(it, { reason: 'agent-gone', note: null, by: 'system', queued: true }, noon)
    given(conversation({ status: 'waiting' }))
      .when(back)
      .changesNothing()
    given(conversation({ status: 'resolved' }))
      .when(back)
      .throws('ILLEGAL_TRANSITION')
    given(conversation({ status: 'closed' }))
      .when(back)
      .throws('CONVERSATION_CLOSED')
  })

  test('the support side’s unread passes to the new agent', () => {
    const it = conversation({ said: 3 })
    expect(stateOf(it).unread).toEqual([{ personId: 'asha', count: 3 }])
    expect(stateOf(after(assign(it, to(vikram), noon))).unread).toEqual([{ personId: 'vikram', count: 3 }])
  })
})

describe('a message', () => {
  test.each(['waiting', 'open', 'resolved'] as const)('of the farmer is taken while it is %s', (status) => {
    expect(say(conversation({ status }), saying(rajesh, 'hi'), noon).after.lastSeq).toBe(1)
  })

  test('of the farmer reopens a resolved one to its agent, where there is a place', () => {
    given(conversation({ status: 'resolved' }))
      .when((it) => say(it, saying(rajesh, 'again', { placeToken: 'new' }), noon))
      .becomes({ status: 'open', resolvedAt: null, assigned: { person: asha, placeToken: 'new', at: noon }, lastSeq: 1 }, [
        { type: 'conversation.assigned', from: asha, to: asha, reason: 'reopened' },
        { type: 'conversation.status-changed', from: 'resolved', to: 'open', reopened: true, by: 'rajesh' },
        { type: 'message.created', message: { seq: 1 } },
      ])
  })

  test('of the farmer reopens a resolved one to the queue, where there is none', () => {
    given(conversation({ status: 'resolved' }))
      .when((it) => say(it, saying(rajesh, 'again'), noon))
      .becomes({ status: 'waiting', waitingSince: noon, assigned: null }, [
        { type: 'conversation.assigned', to: null, reason: 'reopened' },
        { to: 'waiting', reopened: true },
        { type: 'message.created' },
      ])
  })

  test('of the agent leaves a resolved one resolved', () => {
    given(conversation({ status: 'resolved' }))
      .when((it) => say(it, saying(asha, 'ps'), noon))
      .becomes({ status: 'resolved' }, [{ type: 'message.created' }])
  })

  test('is nobody’s in a closed one', () => {
    for (const person of [rajesh, asha, meena])
      given(conversation({ status: 'closed' }))
        .when((it) => say(it, saying(person, 'hi'), noon))
        .throws('CONVERSATION_CLOSED')
  })

  test('is the farmer’s, the assigned agent’s and an admin’s alone', () => {
    for (const person of [sita, vikram])
      given(conversation())
        .when((it) => say(it, saying(person, 'hi'), noon))
        .throws('FORBIDDEN')
    given(conversation({ status: 'waiting' }))
      .when((it) => say(it, saying(asha, 'hi'), noon))
      .throws('FORBIDDEN')
    for (const person of [rajesh, asha, meena]) expect(say(conversation(), saying(person, 'hi'), noon).facts).toHaveLength(1)
  })

  test('shows 200 characters of itself in lists, by code points', () => {
    const it = say(conversation(), saying(rajesh, '🌾'.repeat(300)), noon).after
    expect(it.lastMessage?.content).toBe('🌾'.repeat(200))
  })
})

describe('reading', () => {
  const whole = (it: ReturnType<typeof conversation>) => ({ seq: it.lastSeq, farmerMessages: it.farmerMessages })

  test('moves the reader’s mark forward only, in one event', () => {
    const it = conversation({ said: 3 })
    const done = after(read(it, { reader: asha, upTo: { seq: 2, farmerMessages: 2 }, covered: [] }, noon))
    expect(done).toMatchObject({ marks: { support: { seq: 2, steps: [{ seq: 2, at: noon }] } }, unread: { support: 1 } })
    given(done)
      .when((one) => read(one, { reader: asha, upTo: { seq: 1, farmerMessages: 1 }, covered: [] }, noon))
      .changesNothing()
  })

  test('of an admin moves no mark; of a stranger is forbidden', () => {
    const it = conversation({ said: 1 })
    given(it)
      .when((one) => read(one, { reader: meena, upTo: whole(one), covered: [] }, noon))
      .changesNothing()
    for (const reader of [vikram, sita])
      given(it)
        .when((one) => read(one, { reader, upTo: whole(one), covered: [] }, noon))
        .throws('FORBIDDEN')
  })

  test('keeps its last 20 steps, whatever is read', () => {
    let it = conversation({ said: 50 })
    for (let seq = 1; seq <= 50; seq += 1)
      it = after(read(it, { reader: asha, upTo: { seq, farmerMessages: seq }, covered: [] }, later(seq)))
    expect(it.marks.support.steps).toHaveLength(20)
    expect(it.unread.support).toBe(0)
  })
})

test('a resolved conversation closes by itself once, and only if it stayed resolved', () => {
  const before = { resolvedBefore: later(60) }
  given(conversation({ status: 'resolved' }))
    .when((it) => closeResolved(it, before, later(61)))
    .becomes({ status: 'closed' }, [{ by: 'system' }])
  for (const status of ['open', 'waiting', 'closed'] as const)
    given(conversation({ status }))
      .when((it) => closeResolved(it, before, later(61)))
      .changesNothing()
  given({ ...conversation({ status: 'resolved' }), resolvedAt: later(90) })
    .when((it) => closeResolved(it, before, later(91)))
    .changesNothing()
})

describe('who may see', () => {
  test('the farmer, the assigned agent and an admin read and write; others read what waits, if they are agents', () => {
    const open = conversation()
    const waiting = conversation({ status: 'waiting' })
    expect([rajesh, asha, meena, vikram, sita].map((who) => mayRead(open, who, 'own'))).toEqual([true, true, true, false, false])
    expect([rajesh, asha, meena, vikram, sita].map((who) => mayWrite(open, who))).toEqual([true, true, true, false, false])
    expect([rajesh, asha, meena, sita].map((who) => mayRead(waiting, who, 'own'))).toEqual([true, true, true, false])
    expect([asha, vikram].map((who) => mayWrite(waiting, who))).toEqual([false, false])
  })

  test('agents read all where they are told to, farmers never', () => {
    expect([vikram, sita].map((who) => mayRead(conversation(), who, 'all'))).toEqual([true, false])
  })

  test('who has the farmer now reads the earlier ones', () => {
    expect(mayRead(conversation({ status: 'closed' }), vikram, 'own', 'vikram')).toBe(true)
    expect(mayRead(conversation({ status: 'closed' }), vikram, 'own', 'asha')).toBe(false)
  })

  test('an agent whose role was lowered has lost what was assigned', () => {
    expect(mayWrite(conversation(), { id: 'asha', role: 'User' })).toBe(false)
  })
})
