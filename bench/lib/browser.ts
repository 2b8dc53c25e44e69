// What a browser sends with the handshake of a WebSocket, at the length it usually has.

export const browserHeaders: Readonly<Record<string, string>> = {
  Pragma: 'no-cache',
  'Cache-Control': 'no-cache',
  'User-Agent': 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36',
  Origin: 'http://localhost:3000',
  'Accept-Encoding': 'gzip, deflate, br, zstd',
  'Accept-Language': 'hi-IN,hi;q=0.9,mr-IN;q=0.8,mr;q=0.7,en-IN;q=0.6,en-GB;q=0.5,en-US;q=0.4,en;q=0.3',
  Cookie: `_ga=GA1.1.1234567890.1761300000; _ga_ABCDEF1234=GS2.1.s1761300000$o3$g1$t1761300123$j60$l0$h0; session=${'s'.repeat(120)}; locale=hi-IN`,
  'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
}
