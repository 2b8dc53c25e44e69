// Names stay readable and become harmless.
import { expect, test } from '@jest/globals'
import { cleanName } from '../src/name.ts'

test.each([
  ['crop_disease.jpg', 'jpg', 'crop_disease.jpg'],
  ['IMG_0001.JPEG', 'jpg', 'IMG_0001.JPEG'],
  ['../../etc/passwd', 'jpg', 'passwd.jpg'],
  ['..\\..\\windows\\photo.png', 'png', 'photo.png'],
  ['a\0b.jpg', 'jpg', 'ab.jpg'],
  ['two\r\nlines.jpg', 'jpg', 'twolines.jpg'],
  ['.htaccess', 'jpg', 'htaccess.jpg'],
  ['..', 'jpg', 'image.jpg'],
  ['', 'jpg', 'image.jpg'],
  ['.jpg', 'jpg', 'image.jpg'],
  ['photo.html', 'jpg', 'photo.html.jpg'],
  ['really-a-png.jpg', 'png', 'really-a-png.png'],
  ['फसल की बीमारी.jpg', 'jpg', 'फसल की बीमारी.jpg'],
  ['صورة المحصول.jpg', 'jpg', 'صورة المحصول.jpg'],
  ['photo\u202egpj.exe', 'jpg', 'photogpj.exe.jpg'],
  ['cafe\u0301.jpg', 'jpg', 'café.jpg'],
  ['voice.opus', 'ogg', 'voice.opus'],
  ['bad\ud800surrogate.jpg', 'jpg', 'bad\ufffdsurrogate.jpg'],
  ['  much   space .jpg', 'jpg', 'much space.jpg'],
  ['"quoted"; x=1.jpg', 'jpg', '"quoted"; x=1.jpg'],
])('%j is called as a %s: %j', (given, extension, expected) => {
  expect(cleanName(given, extension, 'image')).toBe(expected)
})

test('300 characters become 120, the ending kept, no letter cut in two', () => {
  const name = cleanName(`${'🌾'.repeat(300)}.jpg`, 'jpg', 'image')
  expect([...name]).toHaveLength(120)
  expect(name.endsWith('🌾.jpg')).toBe(true)
})
