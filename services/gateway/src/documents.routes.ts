// The API's documents: /openapi.json, /asyncapi.json, and /docs with Swagger UI from its own assets.
import { asyncApiDocument } from '@fieldline/contracts/asyncapi'
import { openApiDocument } from '@fieldline/contracts/openapi'
import { type RequestHandler, Router } from 'express'
import helmet from 'helmet'
import swaggerUi from 'swagger-ui-express'
import type { GatewayConfig } from './config.ts'
import { compressJson } from './pages.ts'

export function documentRoutes(config: GatewayConfig, counted: RequestHandler): Router {
  const routes = Router()
  // Made at the first request: most processes are never asked.
  let openApi: object | undefined
  let asyncApi: object | undefined
  routes.get('/openapi.json', counted, compressJson(config), (_req, res) => {
    openApi ??= openApiDocument(config.publicUrl)
    res.set('Cache-Control', 'public, max-age=300').json(openApi)
  })
  routes.get('/asyncapi.json', counted, compressJson(config), (_req, res) => {
    asyncApi ??= asyncApiDocument(config.publicUrl)
    res.set('Cache-Control', 'public, max-age=300').json(asyncApi)
  })

  const page = swaggerUi.setup(undefined, {
    customSiteTitle: 'Fieldline API',
    swaggerOptions: { url: '/openapi.json', persistAuthorization: true, tryItOutEnabled: true },
  })
  routes.use('/docs', counted)
  // Its assets are named beside it, so the page must be a folder.
  routes.get('/docs', (req, res, next) => (req.path.endsWith('/') ? next() : res.redirect(301, '/docs/')))
  routes.use('/docs', pagePolicy(new URL(config.publicUrl).origin), swaggerUi.serve, page)
  return routes
}

/** Swagger UI's own files and the calls it makes to this API, by the name it was opened under or the public one; its styles are inline. */
function pagePolicy(publicOrigin: string): RequestHandler {
  return helmet.contentSecurityPolicy({
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", 'data:'],
      connectSrc: ["'self'", publicOrigin],
      frameAncestors: ["'none'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
    },
  })
}
