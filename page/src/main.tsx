import './style/base.css'
import './style/parts.css'
import './style/figures.css'
import { render } from 'preact'
import { Page } from './view/page'
import { applyTheme, savedTheme } from './view/theme'

applyTheme(savedTheme())
document.body.replaceChildren() // it is loaded
render(<Page />, document.body)
