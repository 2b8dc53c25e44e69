// Draws a row's chart as SVG, by ECharts on the server side.
import * as echarts from 'echarts'
import type { Flame } from './cpuprofile.ts'
import type { Chart } from './row.ts'

const colours = { floor: '#8a8f98', product: '#2f7d4f' } as Record<string, string>

export function draw({ title, kind, unit, series }: Chart): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 760, height: 360 })
  const common = {
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: title, left: 16, top: 12, textStyle: { fontSize: 15 } },
    legend: { right: 16, top: 14 },
    grid: { left: 64, right: 24, top: 64, bottom: 48 },
    yAxis: { type: 'value', name: unit, min: 0 } as const,
  }
  if (kind === 'percentiles') {
    // Equal steps for each nine: 90 %, 99 %, 99.9 %.
    const place = (percentile: number) => Math.log10(100 / (100 - Math.min(percentile, 99.995)))
    const nines = [0, 1, 2, 3, 4]
    chart.setOption({
      ...common,
      yAxis: { ...common.yAxis, type: 'log', min: 'dataMin' },
      xAxis: {
        type: 'value',
        ...{ min: 0, max: 4.3, interval: 1 },
        axisLabel: {
          formatter: (value: number) =>
            nines.includes(value) ? `${value === 0 ? 0 : Number((100 - 100 / 10 ** value).toFixed(3))} %` : '',
        },
      },
      series: series.map(({ name, points }) => ({
        ...{ name, type: 'line', showSymbol: false, lineStyle: { width: 2 }, color: colours[name] },
        data: points.map(([percentile, value]) => [place(percentile), value]),
      })),
    })
  } else {
    chart.setOption({
      ...common,
      xAxis: { type: 'category', data: series[0]?.points.map(([x]) => x.toLocaleString('en')) ?? [] },
      series: series.map(({ name, points }) => ({ name, type: 'bar', color: colours[name], data: points.map(([, y]) => y) })),
    })
  }
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

/** Boxes from the whole at the bottom to what ran on top; as wide as their time. */
export function drawFlame(title: string, flame: Flame): string {
  const height = 18
  const boxes = boxesOf(flame)
  const levels = Math.max(...boxes.map(({ depth }) => depth)) + 1
  const width = 1_400
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height: levels * height + 72 })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: title, left: 8, top: 8, textStyle: { fontSize: 14 } },
    grid: { left: 8, right: 8, top: 40, bottom: 16 },
    xAxis: { show: false, min: 0, max: 1 },
    yAxis: { show: false, min: 0, max: levels },
    series: [
      {
        type: 'custom',
        data: boxes.map(({ from, share, depth, name }) => ({ name, value: [from, depth, share] })),
        renderItem: (params: { dataIndex: number }, api: echarts.CustomSeriesRenderItemAPI) => {
          const [x = 0, y = 0] = api.coord([api.value(0), Number(api.value(1)) + 1])
          const [wide = 0, high = 0] = (api.size as (value: number[]) => number[])([Number(api.value(2)), 1])
          const { name = '' } = boxes[params.dataIndex] ?? {}
          return {
            type: 'rect',
            shape: { x, y, width: Math.max(wide - 1, 0.5), height: high - 1 },
            style: { fill: `hsl(${hue(name)}, 65%, 72%)` },
            textContent: { style: { text: wide > 40 ? name : '', fontSize: 10, fill: '#222', width: wide - 6, overflow: 'truncate' } },
            textConfig: { position: 'insideLeft' },
          }
        },
      },
    ],
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

/** Boxes narrower than a thousandth of the whole are left out. */
function boxesOf(flame: Flame): { name: string; from: number; share: number; depth: number }[] {
  const boxes: { name: string; from: number; share: number; depth: number }[] = []
  const place = ({ name, total, children }: Flame, from: number, depth: number): void => {
    const share = total / flame.total
    if (share < 0.001) return
    boxes.push({ name, from, share, depth })
    let next = from
    for (const child of children.toSorted((a, b) => b.total - a.total)) {
      place(child, next, depth + 1)
      next += child.total / flame.total
    }
  }
  place(flame, 0, 0)
  return boxes
}

function hue(name: string): number {
  let hash = 0
  for (const character of name) hash = (hash * 31 + character.charCodeAt(0)) % 60
  return hash
}
