// The two samples of the API document as their authors wrote them, each in a host that stands for its framework: React's state, Flutter's widget.
import { io, type Socket } from 'socket.io-client'

/** A screen that shows one conversation. */
export interface Screen {
  /** What it shows. */
  messages(): { _id: string; seq: number; content: string }[]
  /** Types a text and presses the button. */
  send(text: string): void
  /** Its one socket, for the test to watch; the sample itself does nothing more with it. */
  socket(): Socket
  /** Resolves when the history is shown and the socket was made. */
  started: Promise<void>
  close(): void
}

/** Next.js sample, word for word but for what the document's conversion ate: the quotes of the template strings and the JSX tags. */
const nextSource = `
function Chat({ token, conversationId }) {const [socket, setSocket] = useState(null);const [messages, setMessages] = useState([]);const [newMessage, setNewMessage] = useState('');

useEffect(() => {initializeChat();return () => socket?.disconnect();}, []);

async function initializeChat() {
// Load history
const response = await fetch(\`/api/v1/chat/messages/\${conversationId}\`, {headers: { 'Authorization': \`Bearer \${token}\` }});const data = await response.json();setMessages(data.data);

// Connect Socket.IO
const newSocket = io('http://localhost:5000', { auth: { token }});setSocket(newSocket);

// Join room
newSocket.emit('conversation:join', { conversationId });

// Listen for messages
newSocket.on('message:new', (data) => { setMessages(prev => [...prev, data.message]); });}

function sendMessage(e) {e.preventDefault();socket?.emit('message:send', {conversationId,messageType: 'text',content: newMessage,});setNewMessage('');}

return { messages, socket, sendMessage, setNewMessage };
}
return Chat;`

interface Rendered {
  messages: ReturnType<Screen['messages']>
  socket: Socket | null
  sendMessage(event: { preventDefault(): void }): void
  setNewMessage(text: string): void
}

/** The React component, rendered anew at each change of state. `url` stands for `http://localhost:5000` and for the page's own origin. */
export function nextScreen(url: string, token: string, conversationId: string): Screen {
  const states: unknown[] = []
  let slot = 0
  let mounted = false
  let effect: Promise<unknown> | undefined
  let shown: Rendered
  const useState = (initial: unknown): [unknown, (next: unknown) => void] => {
    const own = slot++
    if (!(own in states)) states[own] = initial
    const set = (next: unknown): void => {
      states[own] = typeof next === 'function' ? next(states[own]) : next
      render()
    }
    return [states[own], set]
  }
  const useEffect = (run: () => unknown): void => {
    if (mounted) return
    mounted = true
    queueMicrotask(run)
  }
  const hosted = {
    useState,
    useEffect,
    io: (address: string, options: object) => io(address.replace('http://localhost:5000', url), { ...options, forceNew: true }),
    fetch: (path: string, options: RequestInit) => {
      const answer = fetch(new URL(path, url), options)
      effect = answer
      return answer
    },
  }
  const Chat = new Function(...Object.keys(hosted), nextSource)(...Object.values(hosted)) as (props: object) => Rendered
  const render = (): void => {
    slot = 0
    shown = Chat({ token, conversationId })
  }
  render()
  const ready = async (): Promise<void> => {
    const deadline = performance.now() + 15_000
    while (!shown.socket && performance.now() < deadline) {
      await effect
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    if (!shown.socket) throw new Error('the sample made no socket')
  }
  return {
    messages: () => shown.messages,
    send(text) {
      shown.setNewMessage(text)
      shown.sendMessage({ preventDefault: () => undefined })
    },
    socket() {
      if (!shown.socket) throw new Error('not started')
      return shown.socket
    },
    started: ready(),
    close: () => void shown.socket?.disconnect(),
  }
}

/** Flutter sample, statement by statement: `loadMessages` (which the document leaves to the reader) fills the list from the history. */
export function flutterScreen(url: string, userToken: string, conversationId: string): Screen {
  const screen: { socket?: Socket; messages: ReturnType<Screen['messages']> } = { messages: [] }

  async function initializeChat(): Promise<void> {
    // Load history
    await loadMessages()

    // Connect Socket.IO
    screen.socket = io(url, { transports: ['websocket'], auth: { token: userToken }, autoConnect: false, forceNew: true })
    screen.socket.connect()

    // Join room
    screen.socket.emit('conversation:join', { conversationId })

    // Listen for messages
    screen.socket.on('message:new', (data) => {
      screen.messages.push(data.message)
    })
  }

  async function loadMessages(): Promise<void> {
    const response = await fetch(`${url}/api/v1/chat/messages/${conversationId}`, { headers: { Authorization: `Bearer ${userToken}` } })
    const { data } = (await response.json()) as { data: ReturnType<Screen['messages']> }
    screen.messages = data
  }

  return {
    messages: () => screen.messages,
    send(text) {
      screen.socket?.emit('typing:start', { conversationId })
      screen.socket?.emit('message:send', { conversationId, messageType: 'text', content: text })
    },
    socket() {
      if (!screen.socket) throw new Error('not started')
      return screen.socket
    },
    started: initializeChat(),
    close: () => void screen.socket?.disconnect(),
  }
}
