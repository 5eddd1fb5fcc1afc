// What of Android the card's Kotlin calls, with the signatures of its documentation.
package android.content

abstract class Context {
    abstract val assets: android.content.res.AssetManager
}
